/** Finds the configuration file. */
import { access, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ConfigError, type Finding } from '../finding.ts';

/**
 * The file given by `-c`, or else `./penstock.yaml`, or else `/etc/penstock/penstock.yaml`. A directory
 * stands for the `penstock.yaml` in it, `-` for standard input.
 */
export async function findConfigFile(option?: string): Promise<string> {
  if (option !== undefined) {
    const isDirectory = option !== '-' && (await isTrue(stat(option).then((found) => found.isDirectory())));
    return isDirectory ? join(option, 'penstock.yaml') : option;
  }
  const candidates = ['penstock.yaml', '/etc/penstock/penstock.yaml'];
  for (const candidate of candidates) {
    if (await isTrue(access(candidate).then(() => true))) return candidate;
  }
  const message = `there is neither ${resolve('penstock.yaml')} nor ${candidates[1]}`;
  throw new ConfigError([wholeFile('penstock.yaml', message)]);
}

function isTrue(answer: Promise<boolean>): Promise<boolean> {
  return answer.catch(() => false);
}

/** A finding about a file as a whole. */
export function wholeFile(file: string, message: string): Finding {
  return { file, line: 0, column: 0, path: '', message, hint: 'name the configuration with -c FILE' };
}
