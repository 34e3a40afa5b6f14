import { defineConfig } from "vite";

const API = "http://127.0.0.1:8000";

export default defineConfig({
  build: {
    // Part of the Python package: the app serves it, and a wheel contains it.
    outDir: "../src/acme_shop/dist",
    emptyOutDir: true,
  },
  server: {
    // `npm run dev` serves the pages, `dev run` the API.
    proxy: { "/api": { target: API, ws: true }, "/docs": API, "/openapi.json": API },
  },
});
