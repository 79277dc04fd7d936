import { demandBuild } from "./build.ts";

/** Before what decodes large pictures or holds answers to a schema: Node starts its threads from dist/, also where the rest comes from TypeScript. */
export default (): void => demandBuild(["src/media", "src/platform", "src/text"]);
