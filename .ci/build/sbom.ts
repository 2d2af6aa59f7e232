/** The bill of materials of what was built, in CycloneDX's format: the packages in it with their hashes and licences. */
import { writeFileSync } from 'node:fs';
import type { Part } from './parts.ts';

type Product = { readonly name: string; readonly version: string };

/** `others` are parts that come from no package, such as Node in the executable and the libraries within it. */
export function writeSbom(
  product: Product,
  parts: readonly Part[],
  file: string,
  others: readonly object[] = [],
): void {
  const sbom = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      component: {
        type: 'application',
        ...product,
        'bom-ref': purlOf(product),
        purl: purlOf(product),
        licenses: [{ license: { id: 'Apache-2.0' } }],
      },
    },
    components: [...parts.map(componentOf), ...others],
  };
  writeFileSync(file, `${JSON.stringify(sbom, null, 2)}\n`);
}

function componentOf({ name, version, license, integrity }: Part): object {
  const [algorithm = '', hash = ''] = integrity.split('-');
  return {
    type: 'library',
    name,
    version,
    'bom-ref': purlOf({ name, version }),
    purl: purlOf({ name, version }),
    licenses: [/ (OR|AND) /.test(license) ? { expression: license } : { license: { id: license } }],
    hashes: [
      { alg: algorithm.replace(/^sha/, 'SHA-'), content: Buffer.from(hash, 'base64').toString('hex') },
    ],
  };
}

function purlOf({ name, version }: Product): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}
