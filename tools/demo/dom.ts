/** The element of the page with this id. */
export function byId<E extends HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no element #${id}`);
  return found as E;
}

type Child = Node | string;

/** A new element with properties and children. Children that are texts stay texts: nothing here reads HTML. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<Omit<HTMLElementTagNameMap[K], "style">> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A small button that does something. */
export function quietButton(text: string, act: (button: HTMLButtonElement) => void, properties: Partial<HTMLButtonElement> = {}) {
  const button = make("button", { type: "button", className: "quiet", ...properties }, text);
  button.addEventListener("click", () => act(button));
  return button;
}

export const megabytes = (bytes: number): string =>
  bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
