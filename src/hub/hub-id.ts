/** `org/name` as Hugging Face allows it, or `undefined`. */
export function parseHubId(text: string): string | undefined {
  const part = /^(?!.*(?:--|\.\.))[0-9A-Za-z][\w.-]{0,95}$/;
  const parts = text.split("/");
  return parts.length === 2 && parts.every((each) => part.test(each)) ? text : undefined;
}
