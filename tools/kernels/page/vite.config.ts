import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Serves and builds the kernel page. */
export default defineConfig({
  root: pathOf("."),
  base: "./",
  publicDir: false,
  resolve: { alias: { "#platform": pathOf("../../../src/platform/web.ts") } },
  server: { fs: { allow: [pathOf("../../..")] } },
  build: { outDir: pathOf("./dist"), emptyOutDir: true, target: "es2023", chunkSizeWarningLimit: 1000 },
  worker: { format: "es" },
});
