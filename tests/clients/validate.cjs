// node validate.cjs FILE: Khronos' glTF validator; prints its report as JSON.
// NODE_PATH has to name the node_modules that hold gltf-validator.
const fs = require('fs');
const validator = require('gltf-validator');

validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])))
  .then((report) => console.log(JSON.stringify(report)));
