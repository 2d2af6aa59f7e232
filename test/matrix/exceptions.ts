/** What is not tested, and what an older runtime cannot do: each with its reason. Anything else that fails is a fault. */
import { basename } from 'node:path';
import type { Result } from './reporter.ts';

/** Tests of this project's sources, pages and tools, which are not in the package; they need the Node of its scripts. */
export const notOfThePackage: readonly string[] = [
  'a-bundle-is-whole',
  'a-failed-workload-is-no-win',
  'a-soak-sees-every-byte',
  'a-soak-tells-a-leak-from-noise',
  'a-worker-loads-nothing-that-it-does-not-need',
  'each-code-is-documented-and-seen',
  'nobody-is-sent-to-another-package',
  'pages-hold',
  'the-fuzzer-finds-what-breaks-a-parser',
  'the-reference-follows-the-schema',
];

export type Exception = {
  /** The test's file, without its ending. */
  readonly file: string;
  /** Its name, with those of the tests around it. */
  readonly name: RegExp;
  /** The first version that can. */
  readonly before: string;
  readonly because: string;
};

const noTypeScript = 'modules in TypeScript are run as they are by Node 22.18 and later';
const resetAsEnd =
  'a reset that is there when the last bytes are read is taken for an end, by libuv before 1.52';
const oldOpenssl = 'the client in the test has an OpenSSL that is too old for what it is to ask for';

export const exceptions: readonly Exception[] = [
  {
    file: 'a-check-of-the-users-own-stalls-nobody',
    name: /a module in TypeScript|an idle check keeps no process alive/,
    before: '22.18.0',
    because: noTypeScript,
  },
  {
    file: 'run-obeys-signals',
    name: /opens none in a worker that is only starting/,
    before: '22.14.0',
    because: 'there is no --disable-sigusr1, so a signal in the first 30 ms of a process opens the inspector',
  },
  {
    file: 'a-hello-is-bounded-in-bytes',
    name: /resetAndDestroy is over at once/,
    before: '24.0.0',
    because: resetAsEnd,
  },
  {
    file: 'a-reset-is-passed-on-as-a-reset',
    name: /what is left to deliver is too little/,
    before: '24.0.0',
    because: `${resetAsEnd} (here the client's)`,
  },
  {
    file: 'an-upstream-is-verified-on-every-connection',
    name: /roots that Node knows are not a default/,
    before: '22.19.0',
    because: 'what Node itself trusts cannot be changed there',
  },
  {
    file: 'restricted-workers-can-do-nothing-else',
    name: /are restricted serve|a check of the user’s own/,
    before: '22.13.0',
    because: 'it has no permission model (`--permission`), and `restrict_workers` is refused',
  },
  {
    file: 'a-handshake-settles-on-what-both-sides-take',
    name: /groups are Mozilla's/,
    before: '24.0.0',
    because: 'the client in the test does not tell a post-quantum group that was agreed on',
  },
  {
    file: 'hello-decodes-what-clients-send',
    name: /are called what OpenSSL calls them/,
    before: '24.5.0',
    because: oldOpenssl,
  },
];

/** Why this failure is to be expected of this version; undefined if it isn't. */
export function excuse({ file, name }: Result, version: string): Exception | undefined {
  return exceptions.find(
    (one) =>
      basename(file) === `${one.file}.test.js` &&
      one.name.test(name) &&
      compareVersions(version, one.before) < 0,
  );
}

/** As for sorting: 20.19.0 before 22.3.1. */
function compareVersions(one: string, another: string): number {
  const [a, b] = [one, another].map((version) => version.split('.').map(Number));
  const at = (a ?? []).findIndex((part, index) => part !== b?.[index]);
  return at === -1 ? 0 : (a?.[at] ?? 0) - (b?.[at] ?? 0);
}
