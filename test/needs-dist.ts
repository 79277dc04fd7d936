import { demandBuild } from "./build.ts";

/** Before what runs dist/: all of it must be there, and new. */
export default (): void => demandBuild(["src", "tools"]);
