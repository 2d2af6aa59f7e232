/** Warnings that the author of a configuration has accepted. */
import type { ConfigText, LoadedConfig } from './load.ts';

/**
 * Sets aside those warnings whose line has a comment `# accepted: REASON`. Only the main file can accept: an
 * included one belongs to a tenant, about whom the operator is warned.
 */
export function withAccepted<T extends LoadedConfig>(
  loaded: T,
  { text, name }: Pick<ConfigText, 'text' | 'name'>,
): T {
  const bytes = Buffer.from(text);
  if (loaded.warnings.length === 0 || !bytes.includes('accepted:')) return loaded;
  const lines = bytes.toString().split('\n');
  const isAccepted = ({ file, line }: LoadedConfig['warnings'][number]) =>
    file === name && /\s#\s*accepted:\s*\S/.test(lines[line - 1] ?? '');
  const accepted = loaded.warnings.filter(isAccepted);
  const warnings = loaded.warnings.filter((warning) => !accepted.includes(warning));
  return { ...loaded, warnings, accepted };
}
