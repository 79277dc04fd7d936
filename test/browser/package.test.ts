import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { pathOf } from "../support.ts";

const packageJson = JSON.parse(readFileSync(pathOf("package.json"), "utf8"));
const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta, exports } = packageJson;

it("package.json: at most six run-time dependencies, two of them the server's; Dawn and peers optional; types first, Node before what is left", () => {
  expect(Object.keys(dependencies).length).toBeLessThanOrEqual(6);
  expect(Object.keys(optionalDependencies)).toEqual(["webgpu"]);
  for (const name of Object.keys(peerDependencies)) expect(peerDependenciesMeta[name].optional, name).toBe(true);
  for (const [name, conditions] of Object.entries<Record<string, string> | string>(exports))
    if (name !== "./package.json") expect(Object.keys(conditions)).toEqual(["types", "node", "default"]);
});
