/** Making elements; text is only ever set as text. */

type Child = Node | string | null;

/** Return an element with attributes and children. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string | boolean> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child): child is Node | string => child !== null));
  return made;
}

/** Return a labelled list to choose from. */
export function chooser(
  label: string,
  options: [value: string, text: string][],
  onChange: (value: string) => void,
): HTMLElement {
  const list = element("select", {}, ...options.map(([value, text]) => element("option", { value }, text)));
  list.addEventListener("change", () => onChange(list.value));
  return labelled(label, list);
}

let lastId = 0;

/** Return a control under its label. */
export function labelled(label: string, control: HTMLElement, more = ""): HTMLElement {
  lastId += 1;
  control.id = `control-${lastId}`;
  return element("div", { class: `field ${more}` }, element("label", { for: control.id }, label), control);
}

/** Return a labelled box to tick. */
export function tick(label: string, onChange: (isTicked: boolean) => void): HTMLElement {
  const box = element("input", { type: "checkbox" });
  box.addEventListener("change", () => onChange(box.checked));
  return element("label", { class: "tick" }, box, element("span", {}, label));
}

/** Return a labelled field for words to look for. */
export function searchField(label: string, onChange: (text: string) => void): HTMLElement {
  const field = element("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  field.addEventListener("input", () => onChange(field.value));
  return labelled(label, field);
}

export function button(text: string, onClick: () => void): HTMLButtonElement {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", onClick);
  return made;
}

/** Return a button that copies what *text* gives. */
export function copyButton(label: string, text: () => string): HTMLButtonElement {
  const made = button(label, () => {
    copy(text());
    made.textContent = "Copied";
    setTimeout(() => (made.textContent = label), 1500);
  });
  return made;
}

function copy(text: string): void {
  const field = element("textarea", { "aria-hidden": "true", class: "copied" });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
