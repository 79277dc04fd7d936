import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Serves and builds the page. `weights/` is its public folder: nano lies at /nano. */
export default defineConfig({
  root: pathOf("."),
  base: "./",
  publicDir: pathOf("../../weights"),
  resolve: { alias: { "#platform": pathOf("../../src/platform/web.ts") } },
  build: { outDir: pathOf("./dist"), emptyOutDir: true, target: "es2023", chunkSizeWarningLimit: 1000 },
  worker: { format: "es" },
});
