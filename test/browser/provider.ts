import { playwright } from "@vitest/browser-playwright";
import { chromiumLaunch } from "./chromium.ts";

/** Vitest's Playwright, which looks for its Chromium when the first page is opened: other parts of the tests do not wait until it is unpacked. */
export function inChromium(): ReturnType<typeof playwright> {
  const launchOptions = {};
  const provider = playwright({ launchOptions });
  return {
    ...provider,
    providerFactory(project) {
      const made = provider.providerFactory(project);
      const openPage = made.openPage.bind(made);
      made.openPage = async (...page) => {
        Object.assign(launchOptions, await chromiumLaunch());
        return openPage(...page);
      };
      return made;
    },
  };
}
