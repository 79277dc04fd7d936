/** transformers' clean_up_tokenization, in its order. */
const RULES: readonly (readonly [from: string, to: string])[] = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

/** A text without the spaces before punctuation that InternLM2's class takes away from every answer. */
const cleanUp = (text: string): string => RULES.reduce((cleaned, [from, to]) => cleaned.replaceAll(from, to), text);

/** Up to the last place that no rule can reach across: behind a character that is in none, or behind three that are not spaces. */
const SETTLED = /^.*([^ .?!,'ntmsver]|[^ ]{3})/s;

/** Cleans a text that comes in pieces. */
export function cleaner() {
  let rest = "";
  return {
    add(text: string): string {
      rest += text;
      const settled = SETTLED.exec(rest)?.[0] ?? "";
      rest = rest.slice(settled.length);
      return cleanUp(settled);
    },
    end: (): string => cleanUp(rest),
  };
}
