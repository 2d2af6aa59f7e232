/** Recognizes which proxy a configuration is for, by its content. */
import type { ImportKind } from './flags.ts';

/** undefined if it is none that the import knows. */
export function kindOf(text: string): ImportKind | undefined {
  return kinds.find(([, pattern]) => pattern.test(text))?.[0];
}

const kinds: readonly (readonly [ImportKind, RegExp])[] = [
  ['nginx', /^\s*(stream|server|upstream\s+\S+)\s*\{/m],
  ['haproxy', /^(global|defaults|frontend\s+\S+|backend\s+\S+|listen\s+\S+)\b[^:{]*$/m],
  ['traefik', /^\s*(\[+(tcp|entryPoints)\.|["']?(tcp|entryPoints)["']?\s*:)/m],
  ['apisix', /["']?\b(stream_routes|ssls|upstreams|stream_proxy)\b["']?\s*:/],
];
