/**
 * The AI SDK's provider for a loaded model.
 *
 * @module internvl-webgpu/ai-sdk
 */

export { type Completing, internvl } from "./ai-sdk/model.ts";
