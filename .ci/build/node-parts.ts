/** What the single executable has from Node: Node itself, and the libraries that are linked into it. */

/** Their components for the bill of materials; this process runs on the same version. */
export function nodeComponents(): object[] {
  const { node, modules: _, ...libraries } = process.versions;
  return [
    { type: 'platform', name: 'node', version: node, purl: `pkg:generic/node@${node}` },
    ...Object.entries(libraries).map(([name, version]) => ({
      type: 'library',
      name,
      version,
      purl: `pkg:generic/${name}@${version}`,
    })),
  ];
}
