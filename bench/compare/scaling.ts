import type { Options } from './options.ts';
import type { Cores } from './site.ts';
export async function measureScaling(
  _options: Options,
  _cores: Cores,
  _tell: (text: string) => void,
): Promise<string> {
  return '';
}
