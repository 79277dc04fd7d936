import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** What the built page may do: run its own files, and fetch models from anywhere. Vite's development server needs more, and has none. */
const policy: Plugin = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml() {
    const local = "http://localhost:* http://127.0.0.1:*"; // models on this machine
    const mirror = process.env.VITE_HF_ENDPOINT ? ` ${new URL(process.env.VITE_HF_ENDPOINT).origin}` : "";
    const content = [
      "default-src 'none'",
      "script-src 'self' 'wasm-unsafe-eval'", // libjpeg-turbo is WebAssembly
      "worker-src 'self'",
      "style-src 'self'",
      "img-src 'self' blob: data:",
      "media-src blob:",
      `connect-src 'self' blob: data: https: ${local}${mirror}`,
      "base-uri 'none'",
      "form-action 'none'",
    ].join("; ");
    return [{ tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content }, injectTo: "head-prepend" }];
  },
};

/** Serves and builds the page. `weights/` is its public folder: nano lies at /nano. */
export default defineConfig({
  root: pathOf("."),
  base: "./",
  publicDir: pathOf("../../weights"),
  resolve: { alias: { "#platform": pathOf("../../src/platform/web.ts") } },
  build: { outDir: pathOf("./dist"), emptyOutDir: true, target: "es2023", chunkSizeWarningLimit: 1000 },
  plugins: [policy],
  worker: { format: "es" },
});
