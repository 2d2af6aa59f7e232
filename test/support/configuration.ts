/** Configurations as texts, loaded from a temporary directory. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { ConfigError, formatFinding, type LoadedConfig } from '../../src/config/load.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { temporaryDirectory } from './certificates.ts';

/** Findings as lines without the directory: `penstock.yaml:1:1 path: …`. With faults `loaded` is undefined. */
export type Outcome = {
  readonly directory: string;
  readonly faults: readonly string[];
  readonly warnings: readonly string[];
  readonly loaded: LoadedConfig | undefined;
};

/** Writes the configuration and the files that it names, which only their owner may read, and loads it. */
export async function load(
  t: Pick<TestContext, 'after'>,
  text: string,
  {
    files = {},
    environment = {},
  }: { files?: Record<string, string | Buffer>; environment?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  const directory = temporaryDirectory(t);
  for (const [name, content] of Object.entries({ ...files, 'penstock.yaml': text })) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content, { mode: 0o600 });
  }
  const lines = (findings: LoadedConfig['warnings']) =>
    findings.map((finding) => formatFinding(finding).replaceAll(`${directory}/`, ''));
  try {
    const loaded = await loadConfig(join(directory, 'penstock.yaml'), environment);
    return { directory, faults: [], warnings: lines(loaded.warnings), loaded };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { directory, faults: lines(error.findings), warnings: [], loaded: undefined };
  }
}
