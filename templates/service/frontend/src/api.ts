// The API, as far as the pages need it.

export interface Item {
  id: string;
  name: string;
  description: string;
  price_cents: number;
  created_at: string;
}

export interface Page<T> {
  items: T[];
  total: number;
  offset: number;
  limit: number;
}

interface Session {
  csrf_token: string;
}

/** What the service says when it does not do something (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

let csrfToken = "";

function send(method: string, path: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
  }
  if (csrfToken !== "") {
    headers["X-CSRF-Token"] = csrfToken;
  }
  return fetch(`/api${path}`, { method, headers, body: JSON.stringify(body) });
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response = await send(method, path, body);
  if (response.status === 403 && csrfToken === "") {
    // Signed in before this page was loaded: the cookie is still there, what proves that we are us is not.
    csrfToken = (await call<Session>("GET", "/auth/session")).csrf_token;
    response = await send(method, path, body);
  }
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { title?: string; detail?: string };
    throw new Problem(response.status, problem.detail ?? problem.title ?? response.statusText);
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const listItems = (): Promise<Page<Item>> => call("GET", "/items?limit=100");
export const readItem = (id: string): Promise<Item> => call("GET", `/items/${encodeURIComponent(id)}`);
export const createItem = (name: string, priceCents: number): Promise<Item> =>
  call("POST", "/items", { name, price_cents: priceCents });
export const deleteItem = (id: string): Promise<void> => call("DELETE", `/items/${encodeURIComponent(id)}`);

/** For services that want to know who it is, which say so with status 401. */
export async function signIn(email: string, password: string): Promise<void> {
  csrfToken = (await call<Session>("POST", "/auth/session", { email, password })).csrf_token;
}
