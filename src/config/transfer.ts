/** A loaded configuration as plain data, so that every process serves what one process has read and checked. */
import { X509Certificate } from 'node:crypto';
import { type LoadedAuthority, systemAuthority } from './authorities.ts';
import type { LoadedCertificate, LoadedPair } from './certificates.ts';
import type { LoadedConfig } from './load.ts';

/** What can be sent to another process by structured clone. It holds private keys. */
export type PackedConfig = Omit<LoadedConfig, 'certificates' | 'authorities'> & {
  readonly certificates: readonly {
    readonly name: string;
    readonly pairs: readonly Omit<LoadedPair, 'leaf'>[];
  }[];
  /** Without `system`, which every process makes for itself when it needs it. */
  readonly authorities: readonly Omit<LoadedAuthority, 'certificates'>[];
};

export function packConfig(loaded: LoadedConfig): PackedConfig {
  return {
    ...loaded,
    // Parsed already, and long where there are many names.
    text: '',
    certificates: [...loaded.certificates.values()].map(({ name, pairs }) => ({
      name,
      pairs: pairs.map(({ leaf: _, ...pair }) => pair),
    })),
    authorities: [...loaded.authorities.values()]
      .filter(({ name }) => name !== 'system')
      .map(({ certificates: _, ...authority }) => authority),
  };
}

export function unpackConfig(packed: PackedConfig): LoadedConfig {
  const certificates = packed.certificates.map(({ name, pairs }): [string, LoadedCertificate] => [
    name,
    { name, pairs: pairs.map((pair) => ({ ...pair, leaf: new X509Certificate(pair.cert) })) },
  ]);
  const authorities = packed.authorities.map((authority): [string, LoadedAuthority] => [
    authority.name,
    { ...authority, certificates: authority.ca.map((pem) => new X509Certificate(pem)) },
  ]);
  return {
    ...packed,
    certificates: new Map(certificates),
    authorities: new Map([...authorities, ['system', systemAuthority()]]),
  };
}
