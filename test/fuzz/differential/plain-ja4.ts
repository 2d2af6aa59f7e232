/** JA4 once more, from what another program read, word by word as FoxIO's text has it: to hold ours against. */
import { createHash } from 'node:crypto';
import type { TsharkReading } from './tshark.ts';

export function plainJa4(hello: TsharkReading): string {
  const meant = (values: readonly number[]): string[] =>
    values.map((value) => value.toString(16).padStart(4, '0')).filter((hex) => !/^(.a)\1$/.test(hex));
  const [ciphers, extensions, algorithms] = [hello.ciphers, hello.extensions, hello.signatureAlgorithms].map(
    meant,
  ) as [string[], string[], string[]];
  const offered = meant(hello.versions.length > 0 ? hello.versions : [hello.legacyVersion]);
  const version = { '0304': '13', '0303': '12', '0302': '11', '0301': '10', '0300': 's3', '0002': 's2' }[
    offered.toSorted().at(-1) ?? ''
  ];
  const count = (list: readonly string[]): string => String(Math.min(99, list.length)).padStart(2, '0');
  const start = [
    't',
    version ?? '00',
    extensions.includes('0000') ? 'd' : 'i',
    count(ciphers),
    count(extensions),
    ends(hello.alpn[0]),
  ];
  const shown = extensions.filter((type) => type !== '0000' && type !== '0010').toSorted();
  const second = shown.join(',') + (algorithms.length > 0 ? `_${algorithms.join(',')}` : '');
  return [start.join(''), hash(ciphers.toSorted().join(',')), hash(second)].join('_');
}

function ends(protocol: string | undefined): string {
  if (protocol === undefined) return '00';
  const text = `${protocol.at(0)}${protocol.at(-1)}`;
  if (/^[0-9A-Za-z]{2}$/.test(text)) return text;
  const hex = Buffer.from(protocol, 'latin1').toString('hex');
  return `${hex.at(0)}${hex.at(-1)}`;
}

function hash(text: string): string {
  return text === '' ? '000000000000' : createHash('sha256').update(text).digest('hex').slice(0, 12);
}
