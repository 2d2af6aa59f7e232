/** The kinds of connections that are counted: rows of bench/compare. */
import { chooseWorkloads, type Workload } from '../compare/workloads.ts';

const titles = {
  plain: 'plain',
  passthrough: 'passthrough',
  'full-ecdsa': 'full TLS 1.3, ECDSA',
  'client-auth': 'client certificate required',
  'resumed-13': 'resumed TLS 1.3',
  'resumed-12': 'resumed TLS 1.2',
  rewrap: 'to a mutual-TLS upstream',
} as const;

export type Kind = { readonly id: string; readonly title: string; readonly workload: Workload };

/** All, or those. Throws if there is no such kind. */
export function chooseKinds(ids: readonly string[] = Object.keys(titles)): readonly Kind[] {
  return ids.map((id) => {
    if (!isKind(id)) throw new Error(`there is no kind "${id}"; there are ${Object.keys(titles).join(', ')}`);
    const [workload] = chooseWorkloads([id]);
    return { id, title: titles[id], workload: workload! };
  });
}

function isKind(id: string): id is keyof typeof titles {
  return id in titles;
}
