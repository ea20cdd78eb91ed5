// Loaded into every process that runs integration tests: when the run is gone, however it went, nobody hears how they
// end, and the processes that they started end with this one.
process.once('disconnect', () => process.exit(1));
