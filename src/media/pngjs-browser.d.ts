/** pngjs's own self-contained build: the same code in Node and in browsers (its `main` needs node:zlib and node:stream). */
declare module "pngjs/browser.js" {
  const pngjs: {
    PNG: {
      sync: {
        /** `data` is RGBA: Uint16Array at 16 bits with `skipRescale`, bytes otherwise. */
        read(
          file: Uint8Array,
          options: { checkCRC: false; skipRescale: true },
        ): { width: number; height: number; data: Uint8Array | Uint16Array };
      };
    };
  };
  export default pngjs;
}
