/** Variables that Vite puts into the page. */
interface ImportMeta {
  readonly env: { readonly VITE_HF_ENDPOINT?: string };
}
