/** What all ends of the key-value store have in common. */
export const TCP = { clusterId: 'bench', auth: { secret: 'the secret of the benchmark' } } as const;
