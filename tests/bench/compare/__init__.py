# SPDX-License-Identifier: Apache-2.0
"""usher beside its peers: measure.py reads, servers.py starts, turns.py runs in rounds, page.py writes; the others are the works."""
