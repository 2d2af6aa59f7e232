/** The runtimes that the built package is tested on, from npm. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { install } from './workspace.ts';

/** The oldest Node that package.json promises, and the newest of each later line that gets fixes. */
export const nodeVersions: readonly string[] = ['20.19.0', '22', '24', '26'];

export type Runtime = {
  readonly program: string;
  /** Such as 22.21.1. */
  readonly version: string;
  readonly openssl: string;
};

/** A Node of this version (`22` is the newest 22), installed below the directory unless it is there from an earlier run. */
export function installNode(directory: string, version: string): Runtime {
  const place = join(directory, `node-${version}`);
  const program = join(place, 'node_modules/node/bin/node');
  if (!existsSync(program)) {
    mkdirSync(place, { recursive: true });
    // The package `node` fetches its binary when it is installed, which newer npm allows only if told so.
    const manifest = { private: true, allowScripts: { node: true } };
    writeFileSync(join(place, 'package.json'), JSON.stringify(manifest));
    install(place, [`node@${version}`]);
  }
  const print = 'process.stdout.write(JSON.stringify(process.versions))';
  const versions = JSON.parse(execFileSync(program, ['-e', print], { encoding: 'utf8' }));
  return { program, version: versions.node, openssl: versions.openssl };
}
