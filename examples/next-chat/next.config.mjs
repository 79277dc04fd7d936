export default { serverExternalPackages: ["internvl-webgpu"] };
