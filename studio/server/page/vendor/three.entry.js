// What the page needs of three.js; README.md says how three.js here is made of it.
export {
  Box3, BufferAttribute, BufferGeometry, DirectionalLight, DoubleSide, GridHelper, Group,
  HemisphereLight, LineBasicMaterial, LineSegments, Matrix4, Mesh, MeshBasicMaterial,
  MeshNormalMaterial, MeshStandardMaterial, PerspectiveCamera, Raycaster, SRGBColorSpace, Scene,
  TextureLoader, Vector2, Vector3, WebGLRenderer, WireframeGeometry,
} from "three";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
