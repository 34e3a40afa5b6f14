// Which page is shown: the path says it, and the app serves this front end for every path that is not its own.

import { Problem } from "./api";
import { element } from "./dom";
import { itemPage, itemsPage, missingPage, signInPage, type Render } from "./pages";
import "./style.css";

const page = document.querySelector("#page")!;

function pageOf(path: string): Render {
  const item = /^\/items\/([^/]+)$/.exec(path);
  if (item?.[1] !== undefined) {
    return itemPage(decodeURIComponent(item[1]));
  }
  return path === "/" ? itemsPage : missingPage;
}

async function show(): Promise<void> {
  const path = location.pathname;
  let nodes: Node[];
  try {
    nodes = await pageOf(path)(go);
  } catch (error) {
    const status = error instanceof Problem ? error.status : 0;
    if (status === 401) {
      nodes = await signInPage(path)(go);
    } else if (status === 404) {
      nodes = await missingPage(go);
    } else {
      nodes = [element("h1", {}, "That did not work"), element("p", {}, String(error))];
    }
  }
  // Somebody may have gone on while this was loading.
  if (path === location.pathname) {
    page.replaceChildren(...nodes);
  }
}

function go(path: string): void {
  history.pushState(null, "", path);
  void show();
}

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target.closest("a[data-link]") : null;
  // With a modifier the browser opens another tab, as everywhere.
  if (target instanceof HTMLAnchorElement && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    go(target.pathname);
  }
});
window.addEventListener("popstate", () => void show());

void show();
