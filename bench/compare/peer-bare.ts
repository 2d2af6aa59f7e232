/** A relay of some lines of Node, for what Node itself costs. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bareFronts, type Prepared, type Site } from './fronts.ts';

/** Writes what it is to serve. */
export function prepareBare(node: string, site: Site): Prepared {
  const file = join(site.directory, 'site.json');
  writeFileSync(file, JSON.stringify(site));
  const output = join(site.directory, 'bare.out');
  const program = join(import.meta.dirname, 'bare.ts');
  return {
    launches: [{ command: [node, '--disable-sigusr1', program, file], output }],
    served: bareFronts,
    logFile: output,
    logs: 'nothing',
  };
}
