import { registerScenario } from './register.js';

export const scenarios = [registerScenario('none', 'stream'), registerScenario('none', 'datagram')];
