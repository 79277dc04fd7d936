export { type Completing, internvl } from "./ai-sdk/model.ts";
