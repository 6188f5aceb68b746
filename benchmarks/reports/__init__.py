"""From rows to pages and pictures: learning, the paper's claims, and PFRL."""
