/** A dispatch as it was encoded. */
export interface Encoded {
  pipeline: GPUComputePipeline;
  workgroups: number;
}

/** Writes down what a device is given to do from here on. */
export function watchDispatches(device: GPUDevice): Encoded[] {
  const seen: Encoded[] = [];
  const createCommandEncoder = device.createCommandEncoder.bind(device);
  device.createCommandEncoder = (descriptor) => {
    const encoder = createCommandEncoder(descriptor);
    const beginComputePass = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (of) => {
      const pass = beginComputePass(of);
      let pipeline: GPUComputePipeline;
      const setPipeline = pass.setPipeline.bind(pass);
      pass.setPipeline = (next) => setPipeline((pipeline = next));
      const dispatchWorkgroups = pass.dispatchWorkgroups.bind(pass);
      pass.dispatchWorkgroups = (x, y = 1, z = 1) => {
        seen.push({ pipeline, workgroups: x * y * z });
        return dispatchWorkgroups(x, y, z);
      };
      return pass;
    };
    return encoder;
  };
  return seen;
}
