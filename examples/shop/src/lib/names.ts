/** The four services. Each name is also the service's node id on the transport, and its database's name. */
export const SERVICES = ['order', 'inventory', 'payment', 'notification'] as const;

export type ServiceName = (typeof SERVICES)[number];
