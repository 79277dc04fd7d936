export { createHandler } from "./server/handler.ts";
export type { ServerOptions } from "./server/options.ts";
export type { Service } from "./server/service.ts";
