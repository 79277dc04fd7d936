// The server loads the package from node_modules, with Dawn's native module; the browser's part is bundled as it is.
export default { serverExternalPackages: ["internvl-webgpu"], devIndicators: false };
