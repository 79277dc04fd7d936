import { describe, expect, it } from "vitest";
import { markdown } from "../../../tools/demo/markdown.ts";

/** The Markdown in a page, where it would do what it can. */
function shown(text: string): HTMLElement {
  const element = document.createElement("div");
  document.body.append(element);
  element.append(markdown(text));
  return element;
}

const PAYLOADS = [
  "<script>window.pwned = true</script>",
  '<img src=x onerror="window.pwned = true">',
  "<svg><script>window.pwned = true</script></svg>",
  '<iframe srcdoc="<script>parent.pwned = true</script>"></iframe>',
  "<style>* { display: none }</style>",
  "<a href=javascript:window.pwned=true>x</a>",
  "[x](javascript:window.pwned=true)",
  "[x](JaVaScRiPt:window.pwned=true)",
  "[x](&#106;avascript:window.pwned=true)",
  "[x](java\tscript:window.pwned=true)",
  "[x](vbscript:x) [y](file:///etc/passwd) [z](blob:x) [w](data:text/html,<script>window.pwned=true</script>)",
  "[x][1]\n\n[1]: javascript:window.pwned=true",
  "<javascript:window.pwned=true>",
  "![x](javascript:window.pwned=true) ![y](https://example.org/pixel.png)",
  '[x](https://example.org/ "onmouseover=window.pwned=true")',
  '[x](https://example.org/"onmouseover="window.pwned=true)',
  "```html\n<script>window.pwned = true</script>\n```",
  "`<script>window.pwned = true</script>`",
  "| <img src=x onerror=window.pwned=true> |\n|---|\n| <script>window.pwned = true</script> |",
  "- [ ] <img src=x onerror=window.pwned=true>\n> <b onclick=window.pwned=true>x</b>",
  "# <img src=x onerror=window.pwned=true>",
  "**<img src=x onerror=window.pwned=true>** *<img src=x onerror=window.pwned=true>* ~~<img src=x>~~",
  "<!-- <img src=x onerror=window.pwned=true> -->",
  "&lt;img src=x onerror=window.pwned=true&gt; &#60;script&#62;",
  '<form action="https://example.org"><input name=x autofocus onfocus="window.pwned = true"></form>',
  "<math><mtext><table><mglyph><style><img src=x onerror=window.pwned=true>",
];

/** All that Markdown is made of here. */
const TAGS = new Set("A BLOCKQUOTE BR CODE DEL DIV EM H3 H4 H5 H6 HR LI OL P PRE STRONG TABLE TBODY TD TH THEAD TR UL".split(" "));
const ATTRIBUTES = new Set(["href", "target", "rel", "start", "class", "tabindex", "role", "aria-label"]);

describe("an answer's Markdown", () => {
  it.each([...PAYLOADS, PAYLOADS.join("\n\n"), PAYLOADS.join(" ")])("is nothing but text and known elements: %s", async (payload) => {
    const element = shown(payload);
    for (const each of element.querySelectorAll("*")) {
      expect(TAGS).toContain(each.tagName);
      for (const { name } of each.attributes) expect(ATTRIBUTES).toContain(name);
      if (each instanceof HTMLAnchorElement) {
        expect(each.protocol).toMatch(/^(https?|mailto):$/);
        expect([each.target, each.rel]).toEqual(["_blank", "noopener noreferrer nofollow"]);
      }
    }
    await new Promise((later) => setTimeout(later)); // what would be fetched, or run, has begun
    expect("pwned" in window).toBe(false);
    element.remove();
  });

  it("is shown as it is meant", () => {
    const html = (text: string) => shown(text).innerHTML;
    expect(html("a **b** *c* `d` ~~e~~")).toBe("<p>a <strong>b</strong> <em>c</em> <code>d</code> <del>e</del></p>");
    expect(html("one\ntwo\n\nthree")).toBe("<p>one<br>two</p><p>three</p>");
    expect(html("# A\n\n### B")).toBe("<h3>A</h3><h5>B</h5>");
    expect(html("3. a\n4. b\n   - c")).toMatch(/^<ol start="3"><li>a<\/li><li>b<ul><li>c<\/li><\/ul><\/li><\/ol>$/);
    expect(html("1 < 2 &amp; 3 > 2")).toBe("<p>1 &lt; 2 &amp; 3 &gt; 2</p>");
    expect(html("| a | b |\n|---|--:|\n| 1 | 2 |")).toContain('<th class="right">b</th>');
    expect(html("see https://example.org/x")).toContain('<a href="https://example.org/x"');
    expect(html("- [x] done")).toBe("<ul><li>☑ done</li></ul>");
    expect(html("> q")).toBe("<blockquote><p>q</p></blockquote>");
    expect(html("```js\nlet x;\n```")).toBe("<pre><code>let x;</code></pre>");
  });
});
