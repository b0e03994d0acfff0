"""OpenEXR pictures, from files that the OpenEXR library 3.5 wrote."""

from __future__ import annotations

import base64
import importlib.util
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from studio.data.training.exr import read_exr
from studio.errors import DataError

# 5 x 18 px, deflated: float RGB, half RGBA, float RGBA, half RGBA, half RGB
FILES = {
    "NO": (
        "c-obcyGjE=6o${5WQ~_-(pXzr*obKaktAv%*a&F?R*u<8GP0Rnc7~WVk|z+KKzs!80fP7h;uDC4wUxDd8Qf$~M"
        "9#p+e|9cs_DgoKvuiB?K)c7J<gN+}S11j8;oK2KE77nFCupXLW}xl${eUYaJULUxiw@JQC8XnB!=*Q@3MfN5@*"
        "$OIlTg0PM*r?}h2&>}!-J_RzQq?q?j9<iw{??g;X%jsn2yf@jO(f$a4wVf$6V_0*r3{h;?xz>TUx@=y-W)|@;N"
        "9S2-$^Fyr0SFB}AWfIec14mu>UoNRv+{zfJDvlDskbV$x2ofm4&WCf`hM6p}nQd2jN=<d&V}m7N+Lq-8xaNbA_"
        "BmedWiHlAd$(jJ-f<3D=9B+J5Yk9p_k_CO;?c7a-!JlQ3Bo~1x`d9G!#=`M&xvdbo-NOox;mdGv_h-Lc!f><HD"
        "+#y!UE)R$j+2s+jM*qeT>tvT#M49aJj;N4bz7RkDeBwF"
    ),
    "RLE": (
        "c-n=M%}(1u5XUE;l=9I~Pywm*#1m8?&LC(c+EdkBazrLxl9imbWv?JXP==5z@6dD4J>-xF=u`B_6Y!Br73tcU5"
        "<AhVD~*1u`Oo}!Jo3r=&4L2}wT7#d@MClFWvt<o$?ZV_MyJ5BKb1L{%2cK@Pz#!2B;r^GDtAu{JXgC_sl4D6j)"
        "K;fge4fCqKRb_o{U4^ZU48<mr8t&JP~DX=?I~034bpRMNL;+Edx0A16QYg0JIy|A|ces{)153w4H1n!))e>Y)M"
        "smx-ns)+o6D1M^e?Hl-9c{8A3MQx_|*MWz89JoB4$qFmIUOnLnAgOvDj4m^;iv<^}T`v(Nm+{Db2!S~D?(H#F="
        "!bYJdu%e{|3x}DAdsW7RYcN0BP?~syFR-aX*heV@9EF+=aSR)nf#x0~5R^v0I8N2a0(o4JX1=6h5_$$(!-S`q|"
        "KG*8d!`Qe;3r2XGiX|EX(v#UYJwBTk>6P943Mu(b-sRhKlbe!7Bd=s8|IOx32kEuRuTQoQ{=JY?EZMhmjkG-7p"
        "Iwcq_zTN08VC"
    ),
    "ZIPS": (
        "c-kw|H)LdDU|>kjNX*Mi%_#;lax#lc7(9Vujtn3f5MYF2CkzpH43QuV5r*Xa+=8Oi;^NHwJQOxak|`yzBr!ZQF"
        "D1X6At}GYD3d{e0RdQmSP+O)GK&jx5-SO+%gM}3^)E_EEka^}oluZjk(%RJT#%Yv5|mhyna_}xlb=`u*2lomU|"
        "*bEl$x3cG2S^fuLP*A%qWe41IY?xCE=MVB^hW&lvEa^G8C5-W#*+b@PgGR=7AiMnVXoN%J72`Vu~g-a3Y{|GnC"
        "!}rJq1)F=hzu3Z*Nd^hzjw2TJomtY@%+()mz&F_gXxrP){^v=uADN18xf5tp2ik<ie@rqD1!;8z2)51Z2N`+`i"
        "0Is!K@Y&g%Ulvd8c#aO2<Z4Yw4Izj`Jz-mU0gf+~30(Lxa%3T~d)-Oz)FWiz3QZ832Zx8Z@GD3MXn}Wjxb{T~n"
        "i5u@Zngz@}a^?&Buy8R*H^?_K<8Vq3JL7LzMS(+16M1=m&rwMFJ!gRcL%f;7evp?musFp)vg1viJ4?$4DXDLkj"
        "z7TaozkTCgS@PT;T8!A8NLGv&WG#VC0aH(z5?oS0b)f4=`#8KY^a{a;iQB`0UQkR)(QvMfl76-IEaUbTPR_}!o"
        ">Z`OimRb9TQx?TfbvxP@E-yfCJSNa7Xc3pg2m=<)8qA>~Hx4oIthOSe(Rsn3+`~Cj%I)jRImFK*n<x;Z`SxL}`"
        "TsT*QQvV)wi9JNyhz*-{6%aX5*^4%10e-SP)`a5<^@5Hl7h#YQU};KdnIY~t8LN<K^e03Qx#p+z6qS<=<=2l#P"
        "0%lQBs7H7qID;yBO=`2oeY|c`Ml0P7b!&zKvn9h>PmOlUhwvk*f"
    ),
    "ZIP": (
        "c-kw|H)LdDU|>kjNX*Mi%_#;lax#lc7(9Vujtq<p5Won<P8cHY7$QL!A`Hp-xdlb3#l@NVc_?g<By&n)Nn&_rU"
        "P^vBLsEW)Q6_@`0|KxBu^<qqWEL0XBvuksmy?;7>R*(ST7<*`JE0)6A~nacxF9vTBq*^YGoK+XCqJ<StdD`A!M"
        "-@TC^a<?V!U%|UI|cJnNb=82a*-YO2RW!N;1%lD5)$+WhgEw%FIh=;03Es%mX<hGdD3km7xL}C`?QU6PtjzBJS"
        "zAjhsx50;~bqmqYmtH%Kr~44!{_TFF7y@TSJ25)xe9JA9NRtPirx|KB$A=j@ra*S`N;Yp&R<+Iu&ksP0g%Q~af"
        "fOF-6v+E02?UguWEb(Hb%&fwqB`;B9EM)iwDwg;_l8LwHi_khu@UvXXAQqRUE3g(`kwYEYo_iWsrzjo(9!Ke;)"
        "Npgk)hs1#+ateW$A8lHEG}YTXIM~?ZjG)Rj2BEBmZbk;qJ8B02r$L*O"
    ),
    "PIZ": (
        "c-n=I!A`?43_#s!2QEl(=O2J+f-$yLz=0#uF1t+%t+!dqlB$WucIzi`-~-7z>IP~FKRHS5<kh?D+oT5o*+v<I+"
        "J%EA=ixroo*{u#BtQAusmwbS$n3T#(K)i_*ZJ7&=gO-EncRNByWI~6E})Hm$jgv9xk9VMzxOm5d@FM-qf<RXL3"
        "`9suE5OCl_v`;ZI!Rz0aU5WN<?$gzo7Bq*>13cv*;J`l?CN~^GD$i1%mS>nKhi(_mw#gL0h#(SSGFMs#k9#nA9"
        "u4Fs$S7^~E&3N!0yh+Fsj@qieolB=eAw%y*1r9z}G`4~%3UGm`m{k<2k2bH#|}DI=JxX@fZPj1kP$tU;VPWu%$"
        "YhHubzi)8"
    ),
}


def picture() -> np.ndarray:
    """What the files hold; every value is exact in half precision."""
    y, x = np.mgrid[:18, :5]
    return np.stack([y / 8 - 0.25, x / 4, (x + y) % 3 * 0.5, (x > 0) * 1.0], axis=-1)


def write_exr(path: Path, kind: str = "ZIP") -> Path:
    path.write_bytes(zlib.decompress(base64.b85decode(FILES[kind])))
    return path


@pytest.mark.parametrize("kind", ["NO", "RLE", "ZIPS", "ZIP"])
def test_pictures_of_the_library(tmp_path: Path, kind: str) -> None:
    got, want = read_exr(write_exr(tmp_path / "a.exr", kind)), picture()
    if kind == "NO":
        want[..., 3] = 1  # that file has no alpha
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, want)


def test_data_window_within_the_picture(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", "NO")
    data = path.read_bytes()
    at = data.index(b"displayWindow\0box2i\0") + len(b"displayWindow\0box2i\0") + 4
    path.write_bytes(data[:at] + struct.pack("<4i", 1, -2, 6, 15) + data[at + 16 :])
    got = read_exr(path)  # one column is cut off, two come in addition; rows likewise
    assert got.shape == (18, 6, 4)
    np.testing.assert_array_equal(got[2:, :4, :3], picture()[:16, 1:, :3])
    assert not got[:2].any() and not got[:, 4:].any()


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", "PIZ")
    if importlib.util.find_spec("OpenEXR") is None:
        with pytest.raises(DataError, match="PIZ") as caught:
            read_exr(path)
        assert "the package OpenEXR" in str(caught.value)
    else:
        np.testing.assert_array_equal(read_exr(path)[..., :3], picture()[..., :3])
    whole = write_exr(path).read_bytes()
    for data in (whole[:-40], whole[:100], b"", b"P6 5 18", whole[:-30] + bytes(30)):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"a\.exr"):
            read_exr(path)
    with pytest.raises(DataError, match=r"none\.exr"):
        read_exr(tmp_path / "none.exr")
