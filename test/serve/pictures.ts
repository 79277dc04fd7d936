import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const pathOf = (path: string): string => root + path;

/** A picture of nano's as a data URL. */
export const fixtureUrl = (name: string): string =>
  `data:image/png;base64,${readFileSync(pathOf(`weights/nano/images/${name}.png`)).toString("base64")}`;
