// Builds the page. What it knows of the contract at run time, routes and who may call them, is taken from the contract here:
// the page carries neither its schemas nor a copy made by hand.
import { methods, nodeReachable, nodeRoutes, vmVerbs } from "@blixard/protocol";
import { defineConfig } from "vite";

const name = "virtual:contract";

/** Of each method that has a route: its first one, and the right that it needs. */
function contractCode() {
  const routes = Object.entries(methods).flatMap(([method, { http, access }]) => {
    const route = http?.find(({ debug }) => debug !== true);
    return route === undefined ? [] : [[method, { verb: route.verb, path: route.path, access }]];
  });
  const { metrics, console, pageLogin, beginSession, session, endSession } = nodeRoutes;
  const ofNode = Object.entries({ metrics, console, pageLogin, beginSession, session, endSession }).map(
    ([route, { verb, path, access }]) => [route, { verb, path, access }],
  );
  const parts = { routes: Object.fromEntries(routes), ownRoutes: Object.fromEntries(ofNode), nodeReachable, vmVerbs };
  return Object.entries(parts)
    .map(([part, value]) => `export const ${part} = ${JSON.stringify(value)};`)
    .join("\n");
}

export default defineConfig({
  plugins: [
    {
      name: "contract",
      resolveId: (id) => (id === name ? `\0${name}` : undefined),
      load: (id) => (id === `\0${name}` ? contractCode() : undefined),
    },
  ],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "dist/bundle",
    emptyOutDir: true,
    // The policy of the page allows no data inside of it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    license: { fileName: "licenses.md" },
  },
});
