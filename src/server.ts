/**
 * An HTTP handler that answers as OpenAI's API does.
 *
 * @module internvl-webgpu/server
 */

export { createHandler } from "./server/handler.ts";
export type { ServerOptions } from "./server/options.ts";
export type { Service } from "./server/service.ts";
