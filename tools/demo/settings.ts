import type { ChatOptions } from "../../src/index.ts";
import { byId } from "./dom.ts";

const field = (id: string) => byId<HTMLInputElement>(id);
const number = (id: string): number | undefined => (field(id).value === "" ? undefined : field(id).valueAsNumber);

/** How answers are made, as the page says it; what is left empty is the library's default. */
export function settings(): Pick<ChatOptions, "temperature" | "maxTokens" | "maxTiles" | "system"> {
  const system = field("system").value;
  return {
    temperature: number("temperature"),
    maxTokens: number("max-tokens"),
    maxTiles: number("max-tiles"),
    ...(system.trim() === "" ? {} : { system }),
  };
}

/** How many tiles a picture may have, where that is a number that the library takes. */
export const mostTiles = (): number | undefined => (field("max-tiles").validity.valid ? number("max-tiles") : undefined);

/** Shows how many tiles the model itself takes. */
export const showTiles = (tiles: number): void => {
  field("max-tiles").placeholder = String(tiles);
};

export const setSystem = (text: string | undefined): void => {
  field("system").value = text ?? "";
};

/** Calls back where the tiles change, which pictures show. */
export const onTiles = (changed: () => void): void => field("max-tiles").addEventListener("input", changed);
