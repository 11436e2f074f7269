"""The portal: web pages for chain managers, partners and auditors."""
