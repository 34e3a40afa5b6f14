// Elements without a framework. Texts are set as texts, so that nothing that people write becomes markup.

export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A link to another page of this front end. */
export function link(path: string, text: string): HTMLAnchorElement {
  const made = element("a", { href: path }, text);
  made.dataset["link"] = "";
  return made;
}

export function field(label: string, properties: Partial<HTMLInputElement>): HTMLLabelElement {
  return element("label", {}, label, " ", element("input", properties));
}
