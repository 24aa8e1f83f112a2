"""Where machines come from: one module for each place, behind one small interface (`base`)."""
