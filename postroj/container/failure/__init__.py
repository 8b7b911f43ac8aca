"""Why a guest did not boot, or ended."""
