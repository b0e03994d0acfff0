// Reading a GLB into the views' world.

import { Group, GLTFLoader, Matrix4, TextureLoader } from "../vendor/three.js";

// Files say +Y up where they do not say how they lie: x stays, y is up, z comes towards us.
const Y_UP_TO_Z_UP = new Matrix4().set(1, 0, 0, 0, 0, 0, -1, 0, 0, 1, 0, 0, 0, 0, 0, 1);

const loader = new GLTFLoader();
loader.register((parser) => {
  // pictures as <img>: the other way fetches blob: addresses, which our security policy refuses
  parser.textureLoader = new TextureLoader(parser.options.manager);
  return { name: "pictures-as-elements" };
});

/** The scene of a GLB, as a group in the views' world. Throws what to tell the user. */
export async function loadMesh(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`The mesh could not be fetched (${answer.status}).`);
  const gltf = await loader.parseAsync(await answer.arrayBuffer(), "");
  const group = new Group();
  group.matrixAutoUpdate = false;
  group.matrix.copy(toViews(gltf.asset));
  group.add(gltf.scene);
  group.updateMatrixWorld(true);
  return group;
}

/** From the file's coordinates to the views', as its `asset.extras.studio` states it. */
function toViews(asset) {
  const rows = asset?.extras?.studio?.to_views;
  return rows ? new Matrix4().set(...rows.flat()) : Y_UP_TO_Z_UP;
}
