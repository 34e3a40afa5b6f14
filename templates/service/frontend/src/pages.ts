// What there is to see.

import { createItem, deleteItem, listItems, readItem, signIn, type Item } from "./api";
import { element, field, link } from "./dom";

const price = (item: Item): string => (item.price_cents / 100).toFixed(2);

/** A page, given a function that goes to another one. */
export type Render = (go: (path: string) => void) => Promise<Node[]>;

export const itemsPage: Render = async (go) => {
  const { items, total } = await listItems();
  const form = element(
    "form",
    {},
    field("Name", { name: "name", required: true, maxLength: 100 }),
    field("Price", { name: "price", type: "number", min: "0", max: "1000000", step: "0.01", required: true }),
    element("button", {}, "Add"),
  );
  form.onsubmit = (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const cents = Math.round(Number(data.get("price")) * 100);
    void createItem(String(data.get("name")), cents).then(() => go("/"), (error: Error) => alert(error.message));
  };
  const rows = items.map((item) => element("li", {}, link(`/items/${item.id}`, item.name), ` ${price(item)}`));
  return [element("h1", {}, `Items (${total})`), form, element("ul", {}, ...rows)];
};

export const itemPage =
  (id: string): Render =>
  async (go) => {
    const item = await readItem(id);
    const button = element("button", {}, "Delete");
    button.onclick = () => void deleteItem(id).then(() => go("/"), (error: Error) => alert(error.message));
    return [
      element("h1", {}, item.name),
      element("p", {}, item.description),
      element("p", {}, `${price(item)}, since ${new Date(item.created_at).toLocaleString()}`),
      button,
    ];
  };

export const signInPage =
  (back: string): Render =>
  async (go) => {
    const form = element(
      "form",
      {},
      field("E-mail", { name: "email", type: "email", autocomplete: "username", required: true }),
      field("Password", { name: "password", type: "password", autocomplete: "current-password", required: true }),
      element("button", {}, "Sign in"),
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      const data = new FormData(form);
      void signIn(String(data.get("email")), String(data.get("password"))).then(
        () => go(back),
        (error: Error) => alert(error.message),
      );
    };
    return [element("h1", {}, "Sign in"), form];
  };

export const missingPage: Render = async () => [
  element("h1", {}, "Not found"),
  element("p", {}, "There is no such page. ", link("/", "Items")),
];
